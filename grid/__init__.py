"""Where things are and who answers there: areas, cells, registers, units and accounts."""
