"""What the paper claims: each claim is a function that tests it, on the paper's own tables and on our results."""
