"""Tables, figures, example maps and W&B: data frames in, text, figures and files out."""
