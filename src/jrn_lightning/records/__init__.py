"""What a job leaves behind: written by training, read by everything after it."""
