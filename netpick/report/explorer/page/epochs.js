// epochs
