"""Workers that are actors of a Ray cluster: vectors in its object store, one server that writes."""
