"""The product: issuing, delivering and verifying one-time passwords for contacts."""
