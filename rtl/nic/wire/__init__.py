"""Between the NIC and the fabric: packets are stamped and sent, received and admitted. The trusted words are made and judged here."""
