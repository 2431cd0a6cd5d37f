// choosing
