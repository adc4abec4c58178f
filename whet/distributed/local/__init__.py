"""Workers that are processes of one machine: shared memory for vectors, a socket for words, one server that writes."""
