"""Files of predictions in the forms that benchmarks ask for, read beside their truth."""
