const prompts = [...document.querySelectorAll("#samples details")];
const choose = document.getElementById("choose");
if (prompts.length && choose) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", "prompt");
  prompts.forEach((one, i) => select.add(new Option(one.querySelector("summary").textContent, i)));
  select.addEventListener("change", () => { prompts.forEach((one, i) => { one.open = i == select.value; }); cues(); });
  choose.append("Prompt: ", select);
  document.getElementById("samples").classList.add("one");
}
function cues() {
  for (const box of document.querySelectorAll(".scroll")) {
    const wide = box.querySelector(".wide");
    const wider = wide.scrollWidth > wide.clientWidth + 1;
    box.querySelector(".cue").hidden = !wider;
    box.classList.toggle("more", wider && wide.scrollLeft + wide.clientWidth < wide.scrollWidth - 1);
  }
}
document.querySelectorAll(".wide").forEach((wide) => wide.addEventListener("scroll", cues));
document.querySelectorAll("details").forEach((one) => one.addEventListener("toggle", cues));
addEventListener("resize", cues);
cues();
const large = document.getElementById("large");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    large.querySelector("img").replaceWith(button.querySelector("img").cloneNode());
    large.showModal();
  });
}
large.addEventListener("click", (event) => { if (event.target.tagName != "IMG") large.close(); });
