print("auspex")
