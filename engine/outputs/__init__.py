"""What a run leaves behind: records, archives, a summary, a report, figures, pages."""
