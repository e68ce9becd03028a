"""Pictures: vector tiles, folium pages and the vendored map assets they need."""
