"""What is written to customers and to a portal's admins."""
