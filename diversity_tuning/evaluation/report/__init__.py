"""Reports: tables, figures and one page of HTML from scored runs."""
