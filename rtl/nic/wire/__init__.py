"""Between NIC and fabric: packets are stamped, sent, received and admitted; trusted words are made and judged here."""
