"""The planted exam: a synthetic run of any size, in the real schema, of which the truth is known."""
