"""What runs in Lambda: a file a function, named as the function, and what they share.

``ledger`` is the only module that moves hours; ``requests`` knows the record and its statuses; ``tables`` is the way
into DynamoDB.
"""
