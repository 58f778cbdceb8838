"""From scores to conclusions: statistics, tables, figures and a page."""
