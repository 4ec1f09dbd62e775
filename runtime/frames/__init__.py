"""Pictures that drones take: photographs and video frames with their place on the ground, and live streams."""
