"""The page that sets a board up from a browser (docs/browser.md)."""
