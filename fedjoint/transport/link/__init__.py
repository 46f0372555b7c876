"""The link between an exchange and a holder: one stream that the holder opens, resumed where it broke."""
