"""What is drawn: label maps, masks, volumes, boundaries."""
