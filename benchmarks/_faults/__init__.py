"""What `faults.py` is made of: processes that are struck, tables that are compared, and a module a kind of fault."""
