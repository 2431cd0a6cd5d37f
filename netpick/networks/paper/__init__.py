"""Networks on paper: operations, shapes, what each layer costs. No torch is loaded."""
