"""Views as text and pictures: words (`labels`), looks (`style`), DOT and Mermaid, layout by Graphviz, films,
notebooks."""
