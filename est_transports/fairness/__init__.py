"""Who is served next, and who gives way, where many want what there is little of."""
