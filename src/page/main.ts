document.body.textContent = "iris-serving";
