"""The Weibo channel 微博: mentions come in, every one becomes a duty, and is answered on that very post."""
