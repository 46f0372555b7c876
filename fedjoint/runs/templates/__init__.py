"""What all showings of a report share: its numbers and names as text, its sentences, its pictures' frame, its page."""
