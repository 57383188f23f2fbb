"""Plans of compiled steps: what flows where (`flow`), which phase is which (`phases`), how long values live and where
(`lifetimes`), and all that as a `GraphView` (`graph`)."""
