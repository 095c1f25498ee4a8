//! Colour, per stream: meaning is never carried by colour alone, `NO_COLOR` is honoured.
