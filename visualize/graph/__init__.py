"""A graph as plain data: nodes, edges and modules (`view`), marks on them, and files of them (`exchange`)."""
