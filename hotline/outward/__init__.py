"""Answers out 对外答复: whom a message of the outbox is for, in which words, by which way, and whether it arrived."""
