"""The case core: process tables, cases, assignments, routing, the working calendar, deadlines and the outbox."""
