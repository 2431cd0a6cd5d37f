"""From a template, or a file of networks, to the networks of a run. No torch is loaded."""
