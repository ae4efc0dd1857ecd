"""How support staff get into /admin/, and what holds for every page there; what the pages show is `otp.staff.admin`."""
