"""Networks, one file per family; the classifier around one; models made of models."""
