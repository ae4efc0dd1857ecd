"""What goes when its time is over, and what keeps the records in order."""
