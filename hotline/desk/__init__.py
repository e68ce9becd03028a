"""The operator's desk 话务台 behind its pages: drafts, who is at which case, articles, imported files of reports."""
