"""The telephone 电话: calls as the switchboard tells of them, seats, after-call work, and calling people back."""
