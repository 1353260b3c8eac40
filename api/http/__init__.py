"""What every route shares: problem details, who is calling, pages, preconditions, repeats and limits."""
