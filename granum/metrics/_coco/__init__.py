"""COCO's rules, and what LVIS and boundary IoU share with them."""
