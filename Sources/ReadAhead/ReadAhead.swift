// ReadAhead: cursors to block requests.
