"""Step 7, what is kept: items and keys, the hash chain, the table in memory and in DynamoDB, the store on either."""
