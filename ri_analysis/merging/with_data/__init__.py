"""Methods that look at images: task data, for what it would buy, or auxiliary images. They never see a label."""
