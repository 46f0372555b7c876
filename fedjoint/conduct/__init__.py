"""What a coordinator does in one run, whoever the holders are: agree, train, value, settle, leave a folder."""
