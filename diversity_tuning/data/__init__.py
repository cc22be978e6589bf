"""From votes to weighted pairs: schema, cleaning, scoring, filtering, pairing, DivPO pools, storage."""
