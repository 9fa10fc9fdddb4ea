"""What hours and requests are: ``ledger`` alone moves hours, ``requests`` knows the record and its statuses."""
