"""What every package stands on: settings, errors, the database session, time, ids, datums and crypto."""
