"""Actions in videos: boxes in frames, tubes, their overlaps and errors."""
